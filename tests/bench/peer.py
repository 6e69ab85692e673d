"""The peer: an ordinary service for readings, written with FastAPI and SQLAlchemy.

It runs in its own virtual environment and imports nothing from the portal. asyncpg reads the database from
the PG* environment variables. `python peer.py` creates the tables, and a device for each id on standard
input. It checks no credentials, which spares it work that the portal does.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict
from sqlalchemy import BigInteger, DateTime, ForeignKey, Identity, Index, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

engine = create_async_engine("postgresql+asyncpg://", pool_size=10, max_overflow=10)
sessions = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


class Base(DeclarativeBase):
    pass


class Device(Base):
    __tablename__ = "device"

    id: Mapped[int] = mapped_column(primary_key=True)
    uuid: Mapped[UUID] = mapped_column(unique=True)


class Reading(Base):
    __tablename__ = "reading"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    device_id: Mapped[int] = mapped_column(ForeignKey("device.id"))
    time: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    x: Mapped[float]
    y: Mapped[float]
    z: Mapped[float]

    __table_args__ = (Index("reading_device_time", device_id, time),)


class NewReading(BaseModel):
    x: float
    y: float
    z: float


class StampedReading(NewReading):
    timestamp: datetime


class StoredReading(NewReading):
    model_config = ConfigDict(from_attributes=True)

    id: int


class Receipt(BaseModel):
    accepted: int


async def session() -> AsyncIterator[AsyncSession]:
    async with sessions() as opened:
        yield opened


Session = Annotated[AsyncSession, Depends(session)]


async def known_device(uuid: UUID, session: Session) -> Device:
    device = await session.scalar(select(Device).where(Device.uuid == uuid))
    if device is None:
        raise HTTPException(404)
    return device


KnownDevice = Annotated[Device, Depends(known_device)]


@app.post("/devices/{uuid}/stats/", status_code=201)
async def add(device: KnownDevice, new: NewReading, session: Session) -> StoredReading:
    reading = Reading(device_id=device.id, **new.model_dump())
    session.add(reading)
    await session.commit()
    return StoredReading.model_validate(reading)


@app.post("/devices/{uuid}/stats/batch", status_code=201)
async def add_batch(device: KnownDevice, new: list[StampedReading], session: Session) -> Receipt:
    rows = [
        {"device_id": device.id, "time": item.timestamp, "x": item.x, "y": item.y, "z": item.z}
        for item in new
    ]
    await session.execute(insert(Reading), rows)
    await session.commit()
    return Receipt(accepted=len(rows))


async def install(uuids: list[UUID]) -> None:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(insert(Device), [{"uuid": uuid} for uuid in uuids])
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(install([UUID(line) for line in sys.stdin.read().split()]))
