"""What came from what: from a prediction back to who labelled, from an item on to every model."""
