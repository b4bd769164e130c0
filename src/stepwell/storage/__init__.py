"""What a store of runs must do, whatever it is made of."""
