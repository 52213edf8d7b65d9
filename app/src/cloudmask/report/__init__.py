"""Runs, of this project and of others, to tables, figures, a page and a notebook."""
