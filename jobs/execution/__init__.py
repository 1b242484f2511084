"""One attempt of one job: claim, run, finish; and what follows when it fails or its process dies."""
