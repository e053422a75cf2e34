"""The image path as a file of its own: ONNX and torch.export. Text embeddings are an input to it."""
