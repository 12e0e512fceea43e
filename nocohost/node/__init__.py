"""Who this node is: its worker mode, settings, identity and clock. Pure: opens nothing."""
