"""Networks from ``.onnx`` files: read strictly, built of torch's modules, and replayed before they are trusted."""
