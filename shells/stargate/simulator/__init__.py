"""A stand-in for Bedrock, with its real wire format and its real faults."""
