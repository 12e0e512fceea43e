"""The words and promises plugins rely on. Pure: opens nothing, imports no third party but pluggy's markers."""
