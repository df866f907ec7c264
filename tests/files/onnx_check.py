"""Runs every model of a folder in onnxruntime and compares its integers with those beside it."""

import glob
import itertools
import json
import sys

import numpy
import onnx
import onnxruntime

LEVELS = [
    onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
]

files = sorted(glob.glob(sys.argv[1] + "/*.onnx"))
for file in files:
    onnx.checker.check_model(onnx.load(file), full_check=True)
    facts = json.load(open(file.replace(".onnx", ".json")))
    count = len(facts["inputs"])
    height, width, channels = facts["input"]
    inputs = numpy.array(facts["inputs"])
    for level, threads in itertools.product(LEVELS, [1, 2]):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = level
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        wanted = session.get_inputs()[0]
        if wanted.name == "image":
            images = inputs.reshape(count, height, width, channels).transpose(0, 3, 1, 2)
            feed = {"image": images.astype(numpy.uint8)}
        else:
            feed = {"latent": inputs.astype(numpy.int32)}
        (logits,) = session.run(None, feed)
        if logits.ndim == 4:
            logits = logits.transpose(0, 2, 3, 1)
        logits = logits.reshape(count, -1)
        expected = numpy.array(facts["logits"])
        if logits.dtype != numpy.int32 or not numpy.array_equal(logits, expected):
            wrong = int((logits != expected).sum())
            sys.exit(f"{file}: {wrong} of {expected.size} integers differ (level {level}, {threads} threads)")
print(len(files), "models agree")
