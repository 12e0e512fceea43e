"""The statements that every job costs: insert, claim, settle.

They are written in SQL and sent past SQLAlchemy's result machinery, on connections of their own, because here its price
is paid for each job; everything else of the store is SQLAlchemy. Both databases keep the same promises.
"""
