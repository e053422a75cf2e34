"""Export the image path to ONNX or torch.export, and run ONNX files. Text embeddings are an input of the file."""
