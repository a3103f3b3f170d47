"""How an export is loaded: a section of its README.md. The code is run by a test."""

from pathlib import Path

from trainer.export.bert import NAMES
from trainer.export.huggingface import CLASSES
from trainer.export.onnx_directory import INPUTS, OnnxDirectory, read_described
from trainer.export.source import Source

EXITS = """## Use

```
siliang-trainer predict . texts.txt
siliang-trainer predict . texts.txt --lose 2
```

A classifier with early exits in int8, in segments for ONNX Runtime: a text leaves at the first branch that is sure
enough, and the batch goes on without it. Scores and times in `model.json` are those of the same model in fp32."""
TEXTS = {True: '"a text", "another text"', False: '"a text"'}


def usage(source: Source, form: str, directory: Path) -> str:
    """Markdown for an export in `directory`, which is complete but for README.md."""
    if form == "onnx":
        return _onnx(source, directory)
    if form == "exits":
        return EXITS
    auto = CLASSES[source.kind][0]
    text = TEXTS[source.classifier is not None and source.classifier.pair]
    text = '"a [MASK] text"' if source.kind == "masked-lm" else text
    trust = "" if form == "bert" else ", trust_remote_code=True"
    told = (
        f"It is a plain `{NAMES[source.kind]}`. `tokenizer.json` cuts a few texts otherwise than the model's training "
        "did (sums of scores are rounded otherwise, rare combining characters are normalised otherwise); "
        "`AutoTokenizer.from_pretrained(..., trust_remote_code=True)` takes the exact tokenizer, by SentencePiece."
        if form == "bert"
        else "The code that `trust_remote_code` runs is in this directory: `modeling_siliang.py` (torch, transformers) "
        "and `tokenization_siliang.py` (sentencepiece). Rows are padded to the right."
    )
    return f"""## Use

```python
from transformers import {auto}, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("."{trust})
model = {auto}.from_pretrained("."{trust})
logits = model(**tokenizer({text}, truncation=True, return_tensors="pt")).logits
```

{told}"""


def _onnx(source: Source, directory: Path) -> str:
    described, _ = read_described(directory)
    facts = described.onnx
    second = ', *pieces.encode("another text"), 3' if source.classifier is not None and source.classifier.pair else ""
    size = OnnxDirectory(directory).onnx.stat().st_size
    meaning = {
        "masked-lm": "`logits` [batch, length, pieces] and `last_hidden_state` [batch, length, width]",
        "classification": "`logits` [batch, labels], whose softmax are probabilities",
        "regression": "`logits` [batch, 1], the value",
        "tokens": "`logits` [batch, length, labels]; a word's label is that of its first piece",
    }[source.kind]
    predict = (
        "" if source.classifier is None else "\n\n`siliang-trainer predict . texts.txt` reads this directory, too."
    )
    return f"""## Use

`model.onnx`: {facts.precision}, {size / 1e6:,.1f} MB, opset {facts.opset}. Inputs are `{INPUTS[0]}` and
`{INPUTS[1]}`, int64 [batch, length], any batch and up to {source.config.max_length:,} pieces; 0 in the mask is
padding, at the right. Out come {meaning}.

```python
import numpy as np
import onnxruntime
import sentencepiece

pieces = sentencepiece.SentencePieceProcessor(model_file="vocabulary/siliang.model")
ids = np.array([[2, *pieces.encode("a text"), 3{second}]])  # [CLS] text [SEP]
session = onnxruntime.InferenceSession("model.onnx")
logits = session.run(["logits"], {{"input_ids": ids, "attention_mask": np.ones_like(ids)}})[0]
```

[PAD] is 0, [MASK] 4. `tokenizer.json` is for programs without SentencePiece; it cuts a few texts otherwise.{predict}"""
