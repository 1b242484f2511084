"""The soak: mixed work on real workers while processes, broker and database are harmed at random, for minutes or hours.

`make soak MINUTES=10 SEED=7` (`python -m tests.soak --minutes 10 --seed 7`). The seed alone decides what is submitted
and what is harmed when; how it comes out is up to the machine. At the end nothing may be lost or recorded twice.
"""
