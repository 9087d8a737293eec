"""What a link consists of: values that say how packets are treated, and a small machine for each of them."""
