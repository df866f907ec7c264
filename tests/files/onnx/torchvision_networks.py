"""Writes networks of torchvision as ONNX, by both of PyTorch's exporters, with and without batch normalisations folded.

    python torchvision_networks.py FOLDER

Beside each file NAME.onnx lies NAME.json: the logits that onnxruntime gives for two images of bytes (37 i + 11) mod 256.
"""

import json
import sys
import warnings

import onnxruntime
import torch
import torchvision

# Sides of images; vgg11_bn needs those that it was made for.
NETWORKS = {"resnet18": 64, "mobilenet_v2": 64, "densenet121": 64, "squeezenet1_1": 127, "vgg11_bn": 224}

warnings.simplefilter("ignore")
folder = sys.argv[1]
for name, side in NETWORKS.items():
    torch.manual_seed(1)
    net = getattr(torchvision.models, name)(weights=None)
    if name == "vgg11_bn":
        # Its three dense layers hold 124 million weights, and a model of this program at most 67 million.
        net.classifier = torch.nn.Linear(512 * 7 * 7, 10)
    # Statistics that are no zeros and ones.
    net.train()
    with torch.no_grad():
        for _ in range(3):
            net(torch.rand(8, 3, side, side))
    net.eval()
    images = ((37 * torch.arange(2 * 3 * side * side) + 11) % 256).reshape(2, 3, side, side).float() / 255
    for kind in ["older", "older-norms", "present", "present-raw"]:
        file = f"{folder}/{name}-{kind}.onnx"
        if kind.startswith("older"):
            folds = kind == "older"
            torch.onnx.export(net, (images,), file, dynamo=False, do_constant_folding=folds, input_names=["x"], dynamic_axes={"x": {0: "batch"}})
        else:
            torch.onnx.export(net, (images,), file, dynamo=True, optimize=kind == "present", verbose=False)
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        (logits,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
        with open(file.replace(".onnx", ".json"), "w") as out:
            json.dump(logits.tolist(), out)
        print(f"{name}-{kind}")
