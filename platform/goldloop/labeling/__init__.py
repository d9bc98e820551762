"""The road to Label Studio and back."""
