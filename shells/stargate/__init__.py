"""Stargate: an LLM gateway for AWS Bedrock."""
