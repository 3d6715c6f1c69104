"""`python -m dicomwire` is `dicomwire`."""

from dicomwire.cli.main import main

if __name__ == "__main__":
    main()
