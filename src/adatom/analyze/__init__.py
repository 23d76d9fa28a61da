"""What atoms make up: particles."""
