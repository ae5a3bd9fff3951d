"""Three versions of a checkpoint enter, one leaves: decided on digests, combined where both sides changed a group."""
