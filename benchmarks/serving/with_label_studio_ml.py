"""A model for label-studio-ml-backend's server, as its examples are written; gunicorn starts `app`.

Runs in an environment of its own; the model's folder is in the variable MODEL_FOLDER.
"""

import os

import torch
from label_studio_ml.api import init_app
from label_studio_ml.model import LabelStudioMLBase
from transformers import AutoModelForSequenceClassification, AutoTokenizer

FOLDER = os.environ["MODEL_FOLDER"]
TOKENIZER = AutoTokenizer.from_pretrained(FOLDER)
MODEL = AutoModelForSequenceClassification.from_pretrained(FOLDER).eval()


class Classifier(LabelStudioMLBase):
    """Says the class of each task's text."""

    def predict(self, tasks, **kwargs):
        """One prediction for each task; all of a request in one pass."""
        texts = [task["data"]["text"] for task in tasks]
        with torch.inference_mode():
            inputs = TOKENIZER(texts, truncation=True, max_length=64, padding=True, return_tensors="pt")
            scores = MODEL(**inputs).logits.softmax(-1)
        confidences, places = scores.max(-1)
        return [
            {
                "result": [
                    {
                        "from_name": "label",
                        "to_name": "text",
                        "type": "choices",
                        "value": {"choices": [MODEL.config.id2label[place]]},
                    }
                ],
                "score": confidence,
            }
            for place, confidence in zip(places.tolist(), confidences.tolist(), strict=True)
        ]


app = init_app(model_class=Classifier, model_dir=os.environ.get("MODEL_DIR", "."))
