"""`promptkit serve`: pipelines as models of the OpenAI protocol, and as plain JSON endpoints."""
