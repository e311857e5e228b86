"""A page on which one looks at a fact inside a model. Needs the extra `engram[web]`; imports nothing of itself."""
