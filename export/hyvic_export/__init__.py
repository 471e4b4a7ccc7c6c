"""From a checkpoint to a deployment bundle: integer entropy path, ONNX graphs, conformance vectors."""
