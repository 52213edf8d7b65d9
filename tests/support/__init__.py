"""What tests share: machines, processes, clusters, inputs, expected messages."""
