"""Messages that outlive the process: kept in a file until the other application has taken them."""
