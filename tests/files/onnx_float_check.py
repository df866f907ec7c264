"""Runs every float model of a folder in onnxruntime and compares its logits with those beside it."""

import glob
import json
import sys

import numpy
import onnx
import onnxruntime

files = sorted(glob.glob(sys.argv[1] + "/*.onnx"))
for file in files:
    onnx.checker.check_model(onnx.load(file), full_check=True)
    facts = json.load(open(file.replace(".onnx", ".json")))
    height, width, channels = facts["input"]
    pixels = numpy.array(facts["pixels"], numpy.float32).reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"image": pixels})
    expected = numpy.array(facts["logits"]).reshape(logits.shape)
    off = numpy.abs(logits - expected).max() / (1 + numpy.abs(expected).max())
    if not off < 1e-4:
        sys.exit(f"{file}: off by {off}")
print(len(files), "models agree")
