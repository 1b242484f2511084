"""What every room shares: settings, options, encoding, SQL. Knows no stage of a job's life."""
