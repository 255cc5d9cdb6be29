"""The smallest encoder of a user's own, as source text to be changed."""

NET = """
import sys, torch
from torch import nn
class Net(nn.Module):
    features = 16
    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(4 * 7 * 7, 16)
    def forward(self, observations):
        images = observations.to(self.dense.weight.dtype) / 255
        return self.dense(nn.functional.avg_pool2d(images, 12).flatten(1))
"""
