"""What runs are told: settings, and how YAML files become checked objects."""
