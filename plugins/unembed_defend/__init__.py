"""What defends: defences of stored vectors, put to those attackers that know of them, and what each costs in use."""
