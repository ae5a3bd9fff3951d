"""Three versions of a checkpoint enter, one leaves: decided on digests, combined by a strategy where both sides changed."""
