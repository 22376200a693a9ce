"""The page: what a person sees in a browser."""

from fastapi import APIRouter

router = APIRouter(include_in_schema=False)
