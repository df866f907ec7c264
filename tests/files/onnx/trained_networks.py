"""Trains two networks in PyTorch, as its users do, and writes them as ONNX with their batch normalisations kept.

    python trained_networks.py DIGITS CIFAR10 FOLDER SEED [CHANNELS]

DIGITS is the folder of the digits in this repository (assets/digits), CIFAR10 one with the binary files of CIFAR-10.
FOLDER gets lenet5.onnx, a LeNet-5 of the 6,000 digits, and vgg.onnx, a VGG of three stages that learned from the first
10,000 images. Both read pixels as numbers from 0 to 1. Prints what they reach on the test images. docs/EXCHANGE.md says
what `gtc quantise` makes of them. Two minutes on two CPU cores. With the four numbers of CHANNELS, such as 64,128,256,256, it
trains a VGG of such convolutions alone, which takes as many times longer as it has more weights.
"""

import gzip
import sys
import warnings
from pathlib import Path

import numpy
import torch
from torch import nn
from torch.nn import functional

warnings.simplefilter("ignore")
digits, cifar10, folder = map(Path, sys.argv[1:4])
seed = int(sys.argv[4])


def idx(name):
    data = gzip.decompress((digits / f"{name}.idx.gz").read_bytes())
    axes = data[3]
    shape = numpy.frombuffer(data, ">u4", axes, 4)
    return numpy.frombuffer(data, numpy.uint8, offset=4 + 4 * axes).reshape(shape)


def part_of_digits(name):
    images, labels = idx(f"{name}-images"), idx(f"{name}-labels")
    return torch.tensor(images).float()[:, None] / 255, torch.tensor(labels).long()


def part_of_cifar10(name):
    rows = numpy.fromfile(cifar10 / f"{name}.bin", numpy.uint8).reshape(-1, 3073)
    return torch.tensor(rows[:, 1:].reshape(-1, 3, 32, 32)).float() / 255, torch.tensor(rows[:, 0]).long()


def lenet5():
    return nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10),
    )


def vgg(a, b, c, d):
    layers, channels = [], 3
    for outputs in [a, "pool", b, "pool", c, d, "pool"]:
        if outputs == "pool":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
            channels = outputs
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(d * 4 * 4, 10))


def moved(images):
    """Half of them mirrored, all shifted by up to three pixels."""
    images = torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images.flip(3), images)
    down, right = torch.randint(0, 7, (2,)).tolist()
    return functional.pad(images, (3, 3, 3, 3))[:, :, down:down + 32, right:right + 32]


def train(name, net, learn, test, epochs, change):
    net = net.to(memory_format=torch.channels_last)  # a quarter faster on CPUs
    images, labels = learn
    steps = epochs * (len(images) // 64)
    optimiser = torch.optim.AdamW(net.parameters(), weight_decay=0.05)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(64):
            if len(batch) == 64:
                optimiser.zero_grad()
                functional.cross_entropy(net(change(images[batch])), labels[batch]).backward()
                optimiser.step()
                rate.step()
    net.eval()
    with torch.no_grad():
        right = sum((net(x).argmax(1) == y).sum().item() for x, y in zip(test[0].split(500), test[1].split(500)))
    print(f"{name}: {100 * right / len(test[1]):.2f} % of {len(test[1])} test images")
    file = str(folder / f"{name}.onnx")
    torch.onnx.export(net, (images[:1],), file, dynamo=False, do_constant_folding=False, dynamic_axes={})


torch.manual_seed(seed)
channels = [int(number) for number in sys.argv[5].split(",")] if len(sys.argv) > 5 else [24, 48, 96, 96]
if len(sys.argv) <= 5:
    train("lenet5", lenet5(), part_of_digits("train"), part_of_digits("test"), 8, lambda images: images)
train("vgg", vgg(*channels), part_of_cifar10("data_batch_1"), part_of_cifar10("test_batch"), 12, moved)
