"""The control plane: documents read, applied, acknowledged, written."""
