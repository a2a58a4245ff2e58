"""What Bedrock is: signing, operations, endpoints, exceptions."""
