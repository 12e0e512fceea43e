"""What plugin authors test with: a node, a cluster, and a clock they turn themselves."""
