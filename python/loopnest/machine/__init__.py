"""What can this machine do? Its limits, measured and kept; the roofline made from them."""
