"""Reports, and the gates that judge them."""
