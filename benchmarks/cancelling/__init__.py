"""How quickly jobs are cancelled, waiting and running, and what that costs the others."""
