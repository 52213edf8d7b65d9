"""Evaluation: whole-scene inference, metrics, masks and pictures."""
