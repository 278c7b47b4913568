"""SabER in PyTorch, for the comparison with DistributedDataParallel: kind saber, gate vector, mask relevance.

Written from docs/model.md; parameters carry the names of model.safetensors, so that both sides start from one file.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

GATE_FLOOR = 1e-4


class Fusion(nn.Module):
    def __init__(self, width, image_width, text_width):
        super().__init__()
        self.image_projection = nn.Linear(image_width, width, bias=False)
        self.text_projection = nn.Linear(text_width, width, bias=False)
        self.gate = nn.Linear(2 * width, width)

    def forward(self, image, text):
        v, u = self.image_projection(image), self.text_projection(text)
        return 2 * torch.lerp(u, v, torch.sigmoid(self.gate(torch.cat([v, u], -1))))


class Guider(nn.Module):
    def __init__(self, width, image_width, text_width):
        super().__init__()
        self.up = nn.Linear(image_width + 2 * text_width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, *inputs):
        scaled = torch.cat([x * math.sqrt(x.shape[-1]) for x in inputs], -1)
        return self.down(F.gelu(self.up(scaled)))


class GuiderUpdate(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(width)

    def forward(self, g, hidden, later):
        key, value = self.key_value(hidden).chunk(2, -1)
        scores = self.query(g) @ key.transpose(1, 2) / math.sqrt(g.shape[-1])
        return self.norm(g + scores.masked_fill(later, -math.inf).softmax(-1) @ value)


class TaskMask(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.guider_in = nn.Linear(width, width)
        self.token_in = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, 1)
        self.alpha = nn.Parameter(torch.ones(()))

    def forward(self, g, e, cosine):
        n, root = e.shape[1], math.sqrt(e.shape[2])
        pairs = self.guider_in(g[:, 1:]).unsqueeze(2) + self.token_in(e * root).unsqueeze(1)
        t = torch.sigmoid(self.out(F.gelu(pairs)).squeeze(-1)).clamp(GATE_FLOOR, 1 - GATE_FLOOR)
        looks_at_query = torch.zeros(n, n)
        looks_at_query[1:, 0] = 1
        similarity = cosine * (1 + (self.alpha - 1) * looks_at_query) / root
        return F.pad(t * similarity + t.log(), (1, 0, 1, 0))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x, mask, later):
        batch, length, width = x.shape
        head_width = width // self.heads
        qkv = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, head_width)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        scores = query @ key.transpose(2, 3) / math.sqrt(head_width) + mask.unsqueeze(1)
        read = scores.masked_fill(later, -math.inf).softmax(-1) @ value
        x = x + self.out(read.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Saber(nn.Module):
    def __init__(self, weights, heads):
        """weights: all parameters by name; they say the sizes."""
        super().__init__()
        width, image_width = weights["fusion.image_projection.weight"].shape
        text_width = weights["fusion.text_projection.weight"].shape[1]
        self.layers = sum(name.endswith(".qkv.weight") for name in weights)
        self.fusion = Fusion(width, image_width, text_width)
        self.guider = Guider(width, image_width, text_width)
        self.task_in = nn.Linear(2 * width, width)
        for layer in range(self.layers):
            self.add_module(f"block{layer}", Block(width, heads))
            self.add_module(f"mask{layer}", TaskMask(width))
            self.add_module(f"guider_update{layer}", GuiderUpdate(width))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(2 * width, width, bias=False)
        for name in ("begin", "task", "position", "log_scale"):
            self.register_parameter(name, nn.Parameter(torch.empty_like(weights[name])))
        # The key of [EOS] is for another objective: no parameter here, so that no gradient of it has to travel.
        self.register_buffer("end_key", torch.empty_like(weights["end_key"]))
        self.load_state_dict(weights)

    def forward(self, queries, shots):
        """The vector that the next demonstration is chosen with: [batch, k + 1, d]. shots: [batch, k, d], fused."""
        image, query, instruction = queries
        root, length = math.sqrt(shots.shape[2]), shots.shape[1] + 2
        fused = self.fusion(image, query)
        guided = self.guider(image, query, instruction)
        token = self.task_in(torch.cat([self.task.expand_as(fused), root * fused], -1))
        begin = self.begin.expand(fused.shape[0], 1, -1)
        x = torch.cat([begin, token.unsqueeze(1), root * shots], 1) + self.position[:length]
        later = torch.ones(length, length, dtype=torch.bool).triu(1)
        g = guided.unsqueeze(1).expand(-1, length, -1)
        e = torch.cat([fused.unsqueeze(1), shots], 1)
        unit = F.normalize(e, dim=-1)
        cosine = unit @ unit.transpose(1, 2)
        for layer in range(self.layers):
            mask = self.get_submodule(f"mask{layer}")(g, e, cosine)
            x = self.get_submodule(f"block{layer}")(x, mask, later)
            g = self.get_submodule(f"guider_update{layer}")(g, x, later)
        read = torch.cat([self.norm(x), g], -1)[:, 1:]
        return self.log_scale.exp() * (self.head(read) + fused.unsqueeze(1))


class ListwiseLoss(nn.Module):
    """The whole forward pass of a step in one module, so that DistributedDataParallel sees all of it."""

    def __init__(self, saber, tables, temperature):
        super().__init__()
        self.saber = saber
        self.tables = tables  # a plain dict: frozen embeddings, which are no part of the model
        self.temperature = temperature

    def fuse(self, rows):
        flat = rows.flatten()
        image, text = (self.tables[name].index_select(0, flat) for name in ("image", "query_result"))
        return self.saber.fusion(image, text).unflatten(0, rows.shape)

    def forward(self, batch):
        """Sum over the samples of the cross entropy between softmax(rewards / temperature) and softmax(logits)."""
        shots, keys = self.fuse(batch["prefix"]), self.fuse(batch["children"])
        queries = (self.tables["image"].index_select(0, batch["queries"]),
                   self.tables["query"].index_select(0, batch["queries"]),
                   self.tables["instruction"].index_select(0, batch["tasks"]))
        z = self.saber(queries, shots)[:, -1]
        logits = (keys @ z.unsqueeze(2)).squeeze(2).float()
        padding = batch["rewards"].isinf()
        target = (batch["rewards"] / self.temperature).softmax(1).float()
        log_p = logits.masked_fill(padding, -1e30).log_softmax(1).masked_fill(padding, 0)
        return -(target * log_p).sum()
