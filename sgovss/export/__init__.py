"""Export a model without its text encoder to ONNX or torch.export, and run ONNX files."""
