"""How a model's figure grows with its labels, and what more of them would be worth; arithmetic alone."""
