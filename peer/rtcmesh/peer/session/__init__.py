"""Conversations that outlive their paths: numbering, acknowledgement, credit, fragments, resumption."""
