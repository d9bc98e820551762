"""The audit log: who did what, when, from what and with what outcome."""
