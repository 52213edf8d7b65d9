"""The settings of runs, and how YAML files become checked objects."""
