"""A real engine without a model: it plays a script, with delays, failures and real crashes where the script says so.

For tests, demonstrations and the smoke test of packages. What it does comes from its script alone, never from a
prompt, a name or the environment. It has no part in how good or fast real models are.
"""
