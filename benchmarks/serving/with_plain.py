"""The endpoint that most people would write first: python with_plain.py MODEL-FOLDER PORT."""

from __future__ import annotations

import sys

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

folder, port = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
app = FastAPI()


class Question(BaseModel):
    """What is asked."""

    text: str


@app.get("/health")
def health() -> dict[str, str]:
    """Whether it lives."""
    return {"status": "UP"}


@app.post("/predict")
def predict(question: Question) -> dict[str, object]:
    """Class, confidence and all scores."""
    with torch.inference_mode():
        inputs = tokenizer(question.text, truncation=True, max_length=64, return_tensors="pt")
        scores = model(**inputs).logits.softmax(-1)[0]
    confidence, place = scores.max(-1)
    names = model.config.id2label
    told = {names[number]: score for number, score in enumerate(scores.tolist())}
    return {"prediction": names[int(place)], "confidence": float(confidence), "scores": told}


uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning")
