"""Steps of Hugging Face's BertForMaskedLM, run by benchmarks/training.py in the peers' own interpreter.

training_peer.py '{"rows": 32, "length": 128, "vocabulary": 8192, ...}'   ->   one JSON object
"""

import json
import sys
import time
from statistics import median
from typing import Any


def main() -> None:
    asked: dict[str, Any] = json.loads(sys.argv[1])
    import torch
    import transformers

    torch.set_num_threads(asked["threads"])
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=asked["vocabulary"], hidden_size=asked["width"], num_hidden_layers=asked["layers"],
        num_attention_heads=asked["heads"], intermediate_size=asked["feed_forward"],
        max_position_embeddings=asked["length"], hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    config._attn_implementation = "sdpa"
    model: Any = transformers.BertForMaskedLM(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    rows, length = asked["rows"], asked["length"]
    tokens = torch.randint(6, asked["vocabulary"], (rows, length))
    labels = torch.where(torch.rand(rows, length) < asked["mask_rate"], tokens, -100)
    mask = torch.ones_like(tokens)
    forward = torch.compile(model) if asked["compile"] else model

    def step() -> tuple[float, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=asked["precision"] == "bf16"):
            loss = forward(input_ids=tokens, attention_mask=mask, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return time.perf_counter() - wall, time.process_time() - cpu

    for _ in range(2):
        step()
    taken, end = [step()], time.perf_counter() + asked["seconds"]
    while time.perf_counter() < end:
        taken.append(step())
    print(
        json.dumps(
            {
                "wall": median(wall for wall, _ in taken),
                "cpu": median(cpu for _, cpu in taken),
                "steps": len(taken),
                "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
            }
        )
    )


if __name__ == "__main__":
    main()
