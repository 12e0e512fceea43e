"""One module for each library: a class ``Driver`` that speaks ``contestant.driver.Driver``."""
